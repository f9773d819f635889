from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registry", "0004_model_param_order")]

    operations = [
        migrations.AddField(
            model_name="modelversion",
            name="lost",
            field=models.CharField(blank=True, default="", max_length=500),
            preserve_default=False,
        ),
    ]
