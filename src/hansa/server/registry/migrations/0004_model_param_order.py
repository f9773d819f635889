from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0003_model_archive_params'),
    ]

    operations = [
        migrations.AddField(
            model_name='model',
            name='param_order',
            field=models.JSONField(blank=True, default=list),
        ),
    ]
