from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("trainings", "0002_older_platform"),
    ]

    operations = [
        migrations.AddField(
            model_name="round",
            name="moments_reason",
            field=models.TextField(blank=True),
        ),
    ]
